// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Fixture} from "./support/Fixture.sol";

/// @title What settling refuses, each with an error of its own, and what it counts
contract SettleTest is Fixture {
    function setUp() public {
        deployWithQueue();
    }

    function refuses(ILedger.Record memory record, uint256 wordsOfBatch, uint256 first, uint256 count, bytes memory error) private {
        (uint256[] memory choices, uint256[] memory words) = (choicesOf(wordsOfBatch), wordsOf(wordsOfBatch));
        vm.expectRevert(error);
        rollup.settle(record, choices, words, first, count);
    }

    function provenUpTo(uint256 number) private {
        commitFixtures(1, number);
        proveFixtures(1, number);
    }

    function test_what_is_not_proven() public {
        commitFixtures(1, 2);
        ILedger.Record memory record = proofOf(2).record;
        refuses(record, 2, 0, 1, abi.encodeWithSelector(ILedger.NotProven.selector, 2));
        proveFixtures(1, 1);
        refuses(record, 2, 0, 1, abi.encodeWithSelector(ILedger.NotProven.selector, 2));
        record.header.number = 0;
        refuses(record, 2, 0, 1, abi.encodeWithSelector(ILedger.NotProven.selector, 0));
    }

    function test_another_record() public {
        provenUpTo(4);
        ILedger.Record memory record = proofOf(2).record;
        record.header.number = 4;
        refuses(record, 2, 0, 1, abi.encodeWithSelector(ILedger.RecordMismatch.selector, 4));
        record = proofOf(2).record;
        record.yDa ^= 1;
        refuses(record, 2, 0, 1, abi.encodeWithSelector(ILedger.RecordMismatch.selector, 2));
    }

    function test_other_words() public {
        provenUpTo(4);
        ILedger.Record memory record = proofOf(2).record;
        refuses(record, 4, 0, 1, abi.encodeWithSelector(ILedger.OperationsMismatch.selector, 2));
        (uint256[] memory choices, uint256[] memory words) = (choicesOf(2), wordsOf(2));
        for (uint256 i; i < words.length; ++i) {
            words[i] += 1;
            vm.expectRevert(abi.encodeWithSelector(ILedger.OperationsMismatch.selector, 2));
            rollup.settle(record, choices, words, 0, 1);
            words[i] -= 1;
        }
    }

    function test_choices_that_shift_the_words() public {
        provenUpTo(2);
        ILedger.Record memory record = proofOf(2).record;
        uint256[] memory words = wordsOf(2);
        uint256[] memory choices = new uint256[](2);
        (choices[0], choices[1]) = (0x0001, 0x0301);
        vm.expectRevert(abi.encodeWithSelector(ILedger.OperationsMismatch.selector, 2));
        rollup.settle(record, choices, words, 0, 1);
    }

    function test_items_out_of_range() public {
        provenUpTo(5);
        ILedger.Record memory record = proofOf(4).record;
        refuses(record, 4, 3, 1, abi.encodeWithSelector(ILedger.ItemOutOfRange.selector, 3, 2));
        refuses(record, 4, 1, 2, abi.encodeWithSelector(ILedger.ItemOutOfRange.selector, 1, 2));
        refuses(record, 4, 1, type(uint256).max, abi.encodeWithSelector(ILedger.ItemOutOfRange.selector, 1, 2));
        refuses(record, 4, type(uint256).max, 2, abi.encodeWithSelector(ILedger.ItemOutOfRange.selector, type(uint256).max, 2));
        refuses(record, 4, 2, 0, abi.encodeWithSelector(ILedger.NothingToSettle.selector));
        // entries of the queue are no items
        refuses(proofOf(2).record, 2, 1, 1, abi.encodeWithSelector(ILedger.ItemOutOfRange.selector, 1, 1));
        refuses(proofOf(5).record, 5, 0, 0, abi.encodeWithSelector(ILedger.NothingToSettle.selector));
    }

    function test_twice() public {
        provenUpTo(4);
        settleFixture(4, 0, 1);
        refuses(proofOf(4).record, 4, 0, 1, abi.encodeWithSelector(ILedger.NothingToSettle.selector));
        settleFixture(4, 0, 2);
        refuses(proofOf(4).record, 4, 0, 2, abi.encodeWithSelector(ILedger.NothingToSettle.selector));
        vm.assertEq(rollup.claimable(NATIVE, BOB), 1 ether);
        vm.assertEq(rollup.claimable(TOKEN, ALICE), 250 ether);
    }

    // ---- more withdrawals than the circuit of the fixtures holds ----

    uint256 private constant MANY = 600;

    /// @dev Batch 1 as if it had made so many withdrawals of i + 1 wei each, those at even places by slot 7, the others by no slot at all.
    function withMany() private returns (ILedger.Record memory record, uint256[] memory words) {
        provenUpTo(1);
        words = new uint256[](3 * MANY);
        for (uint256 i; i < MANY; ++i) {
            uint256 from = i % 2 == 0 ? 7 : 0;
            (words[3 * i], words[3 * i + 1], words[3 * i + 2]) = (uint256(NATIVE) << 24 | from, i + 1, uint160(BOB));
        }
        record = proofOf(1).record;
        record.header.opsHash = keccak256(abi.encode(new uint256[](0), words));
        pretendStored(1, keccak256(abi.encode(record)));
    }

    function test_items_beyond_one_word_of_the_bitmap() public {
        (ILedger.Record memory record, uint256[] memory words) = withMany();
        rollup.settle(record, new uint256[](0), words, 254, 4);
        for (uint256 item = 250; item < 262; ++item) {
            vm.assertTrue(rollup.settled(1, item) == (item >= 254 && item < 258));
        }
        vm.assertFalse(rollup.settled(1, 510) || rollup.settled(1, 0) || rollup.settled(1, 1));
        vm.assertEq(rollup.claimable(NATIVE, BOB), 255 + 257);
        // the rest, once
        rollup.settle(record, new uint256[](0), words, 0, MANY);
        uint256 all = (MANY / 2) * (MANY / 2);
        vm.assertEq(rollup.claimable(NATIVE, BOB), all);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NothingToSettle.selector));
        rollup.settle(record, new uint256[](0), words, 0, MANY);
        vm.assertTrue(rollup.settled(1, MANY - 1) && !rollup.settled(1, MANY));
    }

    function test_withdrawal_by_no_slot_credits_nobody() public {
        (ILedger.Record memory record, uint256[] memory words) = withMany();
        rollup.settle(record, new uint256[](0), words, 1, 1);
        vm.assertTrue(rollup.settled(1, 1));
        vm.assertEq(rollup.claimable(NATIVE, BOB), 0);
        vm.expectEmit(address(rollup));
        emit ILedger.Credited(BOB, NATIVE, 5, 1, 4);
        rollup.settle(record, new uint256[](0), words, 3, 2);
        vm.assertEq(rollup.claimable(NATIVE, BOB), 5);
    }
}
