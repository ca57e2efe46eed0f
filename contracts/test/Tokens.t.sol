// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../src/IRollup.sol";
import {Bn254} from "../src/libraries/Bn254.sol";
import {TestToken} from "../src/TestToken.sol";
import {Fixture} from "./Fixture.sol";
import {vm} from "./Vm.sol";

/// @dev Keeps a tenth of every transfer.
contract FeeToken {
    mapping(address => uint256) public balanceOf;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        balanceOf[from] -= amount;
        balanceOf[to] += amount - amount / 10;
        return true;
    }
}

/// @dev Returns nothing, as some old tokens do.
contract SilentToken {
    mapping(address => uint256) public balanceOf;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @dev Says no, politely.
contract RefusingToken {
    function balanceOf(address) external pure returns (uint256) {
        return 0;
    }

    function transferFrom(address, address, uint256) external pure returns (bool) {
        return false;
    }
}

/// @dev Calls back from within a transfer, like the hooks of ERC-777.
contract ReenteringToken {
    IRollup private immutable rollup;
    bytes4 public seen;

    constructor(IRollup rollup_) {
        rollup = rollup_;
    }

    uint256 private held;

    function balanceOf(address) external view returns (uint256) {
        return held;
    }

    function transferFrom(address, address, uint256 amount) external returns (bool) {
        held += amount;
        (, bytes memory reason) = address(rollup).call(abi.encodeCall(IRollup.depositToken, (2, 1, 1, address(this))));
        seen = bytes4(reason);
        return true;
    }
}

/// @title Deposits, the registry of tokens, fees and claims
contract TokensTest is Fixture {
    address private constant OWNER = address(0xb0b);

    function list(address erc20) private returns (uint16) {
        return rollup.listToken{value: LISTING_FEE}(erc20);
    }

    function test_a_native_deposit_is_queued_and_escrowed() public {
        rollup.deposit{value: QUEUE_FEE + 5}(9, OWNER);
        require(rollup.queueLength() == 1 && rollup.escrow(1) == 5, "queued");
        IRollup.QueueEntry memory entry = IRollup.QueueEntry(1, address(this), 1, 5, 0, OWNER, 9);
        require(rollup.queueDigest(1) == keccak256(abi.encode(bytes32(0), keccak256(abi.encode(entry)))), "digest");
        require(rollup.queueDeadline(1) == block.timestamp + 7 days, "deadline");
    }

    function test_a_flood_moves_its_own_deadlines_back() public {
        // the test circuit holds two deposits: two an hour
        for (uint256 i; i < 5; ++i) rollup.deposit{value: QUEUE_FEE + 1}(9, OWNER);
        uint256 start = block.timestamp + 7 days;
        require(rollup.queueDeadline(2) == start && rollup.queueDeadline(3) == start + 1 hours && rollup.queueDeadline(5) == start + 2 hours, "paced");
    }

    function test_what_a_deposit_must_be() public {
        vm.expectPartialRevert(IRollup.WrongFee.selector);
        rollup.deposit{value: QUEUE_FEE - 1}(9, OWNER);
        vm.expectRevert(IRollup.NothingDeposited.selector);
        rollup.deposit{value: QUEUE_FEE}(9, OWNER);
        vm.expectPartialRevert(IRollup.KeyOutOfRange.selector);
        rollup.deposit{value: QUEUE_FEE + 1}(0, OWNER);
        vm.expectPartialRevert(IRollup.KeyOutOfRange.selector);
        rollup.deposit{value: QUEUE_FEE + 1}(Bn254.R, OWNER);
        vm.expectRevert(IRollup.OwnerIsZero.selector);
        rollup.deposit{value: QUEUE_FEE + 1}(9, address(0));
        vm.expectPartialRevert(IRollup.TokenNotListed.selector);
        rollup.depositToken{value: QUEUE_FEE}(9, 1, 9, OWNER);
        vm.expectPartialRevert(IRollup.TokenNotListed.selector);
        rollup.depositToken{value: QUEUE_FEE}(1, 1, 9, OWNER);
        vm.expectPartialRevert(IRollup.WrongFee.selector);
        rollup.depositToken{value: QUEUE_FEE + 1}(2, 1, 9, OWNER);
    }

    function test_the_supply_of_a_token_is_capped() public {
        token.mint(address(this), type(uint256).max);
        token.approve(address(rollup), type(uint256).max);
        vm.expectPartialRevert(IRollup.SupplyCapReached.selector);
        rollup.depositToken{value: QUEUE_FEE}(2, 1 << 112, 9, OWNER);
        rollup.depositToken{value: QUEUE_FEE}(2, (1 << 112) - 1, 9, OWNER);
        vm.expectPartialRevert(IRollup.SupplyCapReached.selector);
        rollup.depositToken{value: QUEUE_FEE}(2, 1, 9, OWNER);
    }

    function test_the_registry() public {
        require(rollup.tokenId(address(token)) == 2 && rollup.tokenAddress(2) == address(token) && rollup.tokenAddress(1) == address(0), "registry");
        vm.expectPartialRevert(IRollup.TokenAlreadyListed.selector);
        list(address(token));
        vm.expectPartialRevert(IRollup.TokenHasNoCode.selector);
        list(OWNER);
        vm.expectPartialRevert(IRollup.WrongFee.selector);
        rollup.listToken{value: LISTING_FEE + 1}(address(this));
        require(list(address(new TestToken())) == 3, "next");
    }

    function test_a_token_with_a_fee_credits_what_arrives() public {
        FeeToken fee = new FeeToken();
        fee.mint(address(this), 100);
        rollup.depositToken{value: QUEUE_FEE}(list(address(fee)), 100, 9, OWNER);
        require(rollup.escrow(3) == 90, "arrived");
    }

    function test_a_token_that_returns_nothing_is_supported() public {
        SilentToken silent = new SilentToken();
        silent.mint(address(this), 100);
        rollup.depositToken{value: QUEUE_FEE}(list(address(silent)), 100, 9, OWNER);
        require(rollup.escrow(3) == 100, "arrived");
    }

    function test_a_token_that_refuses_is_an_error() public {
        uint16 id = list(address(new RefusingToken()));
        vm.expectPartialRevert(IRollup.TransferFailed.selector);
        rollup.depositToken{value: QUEUE_FEE}(id, 1, 9, OWNER);
    }

    function test_a_token_that_calls_back_is_locked_out() public {
        ReenteringToken calling = new ReenteringToken(rollup);
        uint16 id = list(address(calling));
        rollup.depositToken{value: QUEUE_FEE}(id, 1, 9, OWNER);
        require(calling.seen() == IRollup.Reentered.selector && rollup.queueLength() == 1, "locked out");
    }

    function test_fees_are_the_operators_and_paid_once() public {
        address to = address(0xfee);
        vm.expectRevert(IRollup.NotOperator.selector);
        rollup.claimFees(to);
        // a queue fee is earned when its entry is proven
        rollup.deposit{value: QUEUE_FEE + 1}(9, OWNER);
        vm.prank(OPERATOR);
        rollup.claimFees(to);
        require(to.balance == LISTING_FEE, "fees");
        vm.prank(OPERATOR);
        vm.expectRevert(IRollup.NothingToClaim.selector);
        rollup.claimFees(to);
    }
}
