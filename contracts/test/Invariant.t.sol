// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../src/IRollup.sol";
import {TestToken} from "../src/TestToken.sol";
import {Fixture} from "./support/Fixture.sol";

/// @title Everything that people do to the contract, in any order
/// @dev Deposits come at any time, behind the fixtures' own. Batches follow the fixtures, because only those have proofs. What must fail is tried as well,
/// and counted as a fault if it does not.
contract Town is Fixture {
    uint256 private constant ACTORS = 5;

    TestToken internal other;
    mapping(uint16 token => uint256) public cameIn;
    mapping(uint16 token => uint256) public wentOut;
    /// Things that went through and must not have.
    uint256 public faults;

    function open() external {
        vm.deal(address(this), 2 * LISTING_FEE);
        deployWithQueue();
        other = new TestToken();
        rollup.listToken{value: LISTING_FEE}(address(other));
        for (uint256 index = 1; index <= ENTRIES; ++index) {
            IRollup.QueueEntry memory entry = entryOf(index);
            cameIn[entry.token] += entry.amount;
        }
    }

    function actor(uint256 seed) private pure returns (address) {
        uint256 pick = seed % ACTORS;
        return pick == 0 ? ALICE : pick == 1 ? BOB : address(uint160(0xac0 + pick));
    }

    // ---- deposits ----

    function depositNative(uint256 seed, uint96 amount, uint256 key) external {
        uint256 value = QUEUE_FEE + 1 + amount;
        address sender = actor(seed);
        vm.deal(sender, sender.balance + value);
        vm.prank(sender);
        rollup.deposit{value: value}(1 + key % (R - 1), actor(seed >> 8));
        cameIn[NATIVE] += value - QUEUE_FEE;
    }

    function depositToken(uint256 seed, uint96 amount, uint256 key) external {
        (uint16 id, TestToken erc20) = seed % 2 == 0 ? (TOKEN, token) : (TOKEN + 1, other);
        address sender = actor(seed >> 8);
        uint256 arrives = 1 + uint256(amount);
        erc20.mint(sender, arrives);
        vm.deal(sender, sender.balance + QUEUE_FEE);
        vm.prank(sender);
        erc20.approve(address(rollup), arrives);
        vm.prank(sender);
        rollup.depositToken{value: QUEUE_FEE}(id, arrives, 1 + key % (R - 1), sender);
        cameIn[id] += arrives;
    }

    /// @dev Coins that nobody deposited change no account.
    function donate(uint96 amount) external {
        token.mint(address(rollup), amount);
        vm.deal(address(rollup), address(rollup).balance + amount);
    }

    // ---- batches ----

    function commitNext() external {
        uint256 number = rollup.committed() + 1;
        if (number <= BATCHES) commit(commitOf(number));
    }

    function proveNext(uint256 count, uint256 repeated) external {
        uint256 open_ = rollup.committed() - rollup.proven();
        if (open_ == 0) return;
        // some of the call's batches may be proven already
        uint256 first = rollup.proven() + 1 - repeated % (rollup.proven() + 1);
        proveFixtures(first, rollup.proven() + 1 + count % open_);
    }

    function settleSome(uint256 number, uint256 item) external {
        if (rollup.proven() == 0) return;
        number = 1 + number % rollup.proven();
        uint256 withdrawals = commitOf(number).withdrawals.length;
        if (withdrawals == 0) return;
        item %= withdrawals;
        bool again = rollup.settled(number, item);
        IRollup.Record memory record = proofOf(number).record;
        try rollup.settle(record, choicesOf(number), wordsOf(number), item, 1) {
            if (again) ++faults;
        } catch {
            if (!again) ++faults;
        }
    }

    // ---- coins out ----

    function claim(uint256 seed, uint256 pick) external {
        (address account, uint16 id) = (actor(seed), uint16(1 + pick % 3));
        uint256 amount = rollup.claimable(id, account);
        vm.prank(account);
        try rollup.claim(id, account) {
            if (amount == 0) ++faults;
            wentOut[id] += amount;
        } catch {
            if (amount != 0) ++faults;
        }
    }

    function claimFees() external {
        if (rollup.feesEarned() == 0) return;
        vm.prank(OPERATOR);
        rollup.claimFees(address(0xfee));
    }

    // ---- replays ----

    function replayCommit(uint256 number) external {
        IRollup.Commit memory batch = commitOf(1 + number % BATCHES);
        if (batch.number == rollup.committed() + 1) return;
        vm.prank(OPERATOR, OPERATOR);
        try rollup.commit(batch) {
            ++faults;
        } catch {}
    }

    function replayProof(uint256 number) external {
        if (rollup.proven() == 0) return;
        number = 1 + number % rollup.proven();
        try rollup.prove(oldCommitments(number), proofsOf(number, number)) {
            ++faults;
        } catch {}
    }

    // ---- what the invariants look at ----

    function balance(uint16 id) external view returns (uint256) {
        return id == NATIVE ? address(rollup).balance : (id == TOKEN ? token : other).balanceOf(address(rollup));
    }

    function claimableSum(uint16 id) external view returns (uint256 sum) {
        for (uint256 i; i < ACTORS; ++i) {
            sum += rollup.claimable(id, actor(i));
        }
    }

    function expectedRoot() external view returns (bytes32) {
        uint256 proven = rollup.proven();
        return proven == 0 ? vm.parseJsonBytes32(json, path(1, "oldRoot")) : newRoot(proven);
    }

    function queueFeesHeld() external view returns (uint256) {
        return (rollup.queueLength() - rollup.queueProven()) * QUEUE_FEE + rollup.feesEarned();
    }

    function contractUnderTest() external view returns (IRollup) {
        return rollup;
    }
}

/// @title Whatever happens, no coin leaves that did not come in
/// forge-config: default.invariant.runs = 24
/// forge-config: default.invariant.depth = 64
contract InvariantTest is Fixture {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Town private town;

    function setUp() public {
        town = new Town();
        town.open();
        rollup = town.contractUnderTest();
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[12] memory all = [
            Town.depositNative.selector,
            Town.depositToken.selector,
            Town.donate.selector,
            Town.commitNext.selector,
            // twice as likely, or few runs reach the withdrawals
            Town.commitNext.selector,
            Town.proveNext.selector,
            Town.proveNext.selector,
            Town.settleSome.selector,
            Town.claim.selector,
            Town.claimFees.selector,
            Town.replayCommit.selector,
            Town.replayProof.selector
        ];
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(town), new bytes4[](all.length));
        for (uint256 i; i < all.length; ++i) {
            targets[0].selectors[i] = all[i];
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(town);
    }

    function invariant_coins_and_pointers() public view {
        for (uint16 id = 1; id <= 3; ++id) {
            vm.assertEq(rollup.escrow(id), town.cameIn(id) - town.wentOut(id), "escrow is what came in less what went out");
            vm.assertLe(town.claimableSum(id), rollup.escrow(id), "what can be claimed is there");
            vm.assertGe(town.balance(id), rollup.escrow(id) + (id == 1 ? town.queueFeesHeld() : 0), "the contract holds its escrow and the fees");
        }
        vm.assertLe(rollup.proven(), rollup.committed(), "proven before committed");
        vm.assertLe(rollup.queueProven(), rollup.queueCommitted(), "entries proven before committed");
        vm.assertLe(rollup.queueCommitted(), rollup.queueLength(), "entries committed before queued");
        vm.assertEq(rollup.stateRoot(), town.expectedRoot(), "root of the last proven batch");
        vm.assertTrue((rollup.pendingSince() == 0) == (rollup.proven() == rollup.committed()));
        vm.assertEq(town.faults(), 0, "something went through or failed that must not");
    }
}
