// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../src/IRollup.sol";
import {Rollup} from "../src/Rollup.sol";
import {TestToken} from "../src/TestToken.sol";
import {Fixture} from "./Fixture.sol";
import {vm} from "./Vm.sol";

/// @title A crowd that deposits, walks the real batches through their states, settles and claims in any order
contract Crowd is Fixture {
    mapping(uint16 => uint256) public cameIn;
    mapping(uint16 => uint256) public wentOut;
    uint256 private taken;

    function depositForNextBatch() external {
        uint256 number = rollup.committed() + 1;
        if (number > BATCHES) return;
        IRollup.Commit memory batch = commitOf(number);
        if (rollup.queueLength() >= rollup.queueCommitted() + batch.taken.length) return;
        for (uint256 i; i < batch.taken.length; ++i) {
            enqueue(batch.taken[i]);
            cameIn[batch.taken[i].token] += batch.taken[i].amount;
        }
    }

    function commitNext() external {
        uint256 number = rollup.committed() + 1;
        if (number > BATCHES) return;
        IRollup.Commit memory batch = commitOf(number);
        if (rollup.queueLength() < rollup.queueCommitted() + batch.taken.length) return;
        send(batch);
    }

    function proveSome(uint256 count) external {
        uint256 open = rollup.committed() - rollup.proven();
        if (open == 0) return;
        uint256 first = rollup.proven() + 1;
        rollup.prove(oldCommitments(first), proofs(first, 1 + count % open));
    }

    function settleOne(uint256 pick) external {
        uint256 batch = pick % 2 == 0 ? 2 : 4;
        if (batch > rollup.proven() || rollup.settled(batch, 0)) return;
        settle(batch);
    }

    function claimOne(uint256 pick, bool native) external {
        address account = pick % 2 == 0 ? address(uint160(0x00a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1)) : address(uint160(0x00a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3));
        uint16 id = native ? 1 : 2;
        uint256 amount = rollup.claimable(id, account);
        if (amount == 0) return;
        vm.prank(account);
        rollup.claim(id, account);
        wentOut[id] += amount;
    }

    function claimFees() external {
        if (rollup.feesEarned() == 0) return;
        vm.prank(OPERATOR);
        rollup.claimFees(OPERATOR);
    }

    function state() external view returns (Rollup, TestToken) {
        return (rollup, token);
    }
}

/// @title Whatever the crowd does, no coin leaves that did not come in
contract SolvencyTest {
    Crowd private crowd;

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function setUp() public {
        crowd = new Crowd();
        vm.deal(address(crowd), 1 ether);
        crowd.setUp();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(crowd);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        bytes4[] memory selectors = new bytes4[](6);
        (selectors[0], selectors[1], selectors[2]) = (Crowd.depositForNextBatch.selector, Crowd.commitNext.selector, Crowd.proveSome.selector);
        (selectors[3], selectors[4], selectors[5]) = (Crowd.settleOne.selector, Crowd.claimOne.selector, Crowd.claimFees.selector);
        targets[0] = FuzzSelector(address(crowd), selectors);
    }

    function invariant_escrow_is_what_came_in_less_what_went_out() public view {
        (Rollup rollup,) = crowd.state();
        for (uint16 id = 1; id <= 2; ++id) {
            require(rollup.escrow(id) == crowd.cameIn(id) - crowd.wentOut(id), "turnstile");
        }
    }

    function invariant_the_contract_holds_its_escrow_and_the_fees() public view {
        (Rollup rollup, TestToken token) = crowd.state();
        require(address(rollup).balance >= rollup.escrow(1) + rollup.feesEarned(), "native");
        require(token.balanceOf(address(rollup)) >= rollup.escrow(2), "token");
    }

    function invariant_pointers_are_in_order() public view {
        (Rollup rollup,) = crowd.state();
        require(rollup.proven() <= rollup.committed(), "batches");
        require(rollup.queueProven() <= rollup.queueCommitted() && rollup.queueCommitted() <= rollup.queueLength(), "queue");
        require((rollup.pendingSince() == 0) == (rollup.proven() == rollup.committed()), "pending");
    }
}
